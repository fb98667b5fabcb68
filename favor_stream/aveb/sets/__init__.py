"""The ten data sets of AVEB, read from a local folder in the form in which each is published. Nothing is downloaded."""
