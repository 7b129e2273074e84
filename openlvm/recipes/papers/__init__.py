"""What the papers trained: LVM (arXiv 2312.00785) and DeLVM (arXiv 2402.04841), on stores of one's own."""
