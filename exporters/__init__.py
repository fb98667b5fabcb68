"""Exporters turn a torch module into a graph that an engine can run; the running agent never imports them."""
