"""The token files of LVM and DeLVM: sentences and records of stores out, stores in."""
