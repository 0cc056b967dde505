"""disc-plus: labels found with the help of devices and time, distilled into a network that needs neither."""
