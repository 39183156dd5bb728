//! The sans-IO core of ringfort: no sockets, files, clocks, threads or randomness of its own.
