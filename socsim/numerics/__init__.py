"""Real arithmetic: int8 products, quantization schemes and a decoder that runs through simulated schedules."""
