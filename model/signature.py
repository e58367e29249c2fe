"""What goes into a network and comes out: the same names in the export, the server, the clients."""

INPUT, OUTPUT = "input", "logits"
CLASSES = 1000
