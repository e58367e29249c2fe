"""Load whose figures are true: open-loop arrivals, every request recorded."""
