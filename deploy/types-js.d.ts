// What the dashboard's modules take from libraries that bring no types with them here.
declare const uPlot: any;
