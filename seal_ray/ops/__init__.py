"""What is done before and after a run: doctor, export, submitted jobs."""
