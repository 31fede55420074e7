"""The truth: ngspice with SKY130 models."""
