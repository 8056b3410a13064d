"""The spectrum of a recurrent layer: Lyapunov exponents, singular values of long Jacobians, the carousel of an LSTM."""
