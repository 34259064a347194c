"""What the samples mean: frames of 20 ms of mono PCM16, buffers, mixing, resampling, files."""
