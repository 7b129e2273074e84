"""Pictures out of Debian and PyPI packages, written as folders that the layouts of OpenLVM read."""
