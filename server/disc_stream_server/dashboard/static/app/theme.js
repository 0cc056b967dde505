// Before anything is drawn: light or dark, as somebody chose here, else as the system is.
document.documentElement.dataset.theme = localStorage.getItem("disc-stream-theme") || "auto";
