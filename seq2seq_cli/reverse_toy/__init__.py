"""The number-reversal toy: the smallest task that needs an encoder and a decoder."""
