"""The agent as a node among those of a robot: what it hears and sees comes by ROS 2, and so do the questions."""
