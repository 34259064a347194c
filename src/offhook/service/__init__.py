"""The running node: sockets, clock, delivery, the REST interface."""
