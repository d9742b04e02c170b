"""Train, inspect and use LSTM encoder-decoder translation models from the command line."""

__version__ = "0.1.0"
