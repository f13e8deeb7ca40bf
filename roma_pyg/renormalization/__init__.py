"""Classical renormalization groups of graphs, as references for the learned one."""
