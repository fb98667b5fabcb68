"""ROS 2 as others speak it: its messages, pictures and sound. It knows no wire, no agent, and needs no ROS install."""
