"""What all training shares: one configuration, one fit function, one batch sampler."""
