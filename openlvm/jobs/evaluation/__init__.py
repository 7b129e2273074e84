"""Running a suite: who is asked, the run itself, and questions written for other systems."""
