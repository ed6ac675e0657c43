"""lib: what every outside-in test shares. It drives a broker as a black box: a process, its sockets, its log."""
