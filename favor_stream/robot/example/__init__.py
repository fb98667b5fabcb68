"""A robot in a simulated room that turns towards a bell and stops when it is told to: how an agent is used in a control loop."""
