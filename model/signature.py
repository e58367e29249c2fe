"""Input and output of every network; the export, the server and the clients use these names."""

INPUT, OUTPUT = "input", "logits"
CLASSES = 1000
