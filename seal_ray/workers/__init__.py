"""The Ray actors (trainers and samplers) and the elastic pool that feeds them."""
