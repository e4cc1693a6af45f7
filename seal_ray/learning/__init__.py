"""Documents that a model is to know: `seal-ray learn`, and what is asked of it afterwards."""
