"""How much memory a training step takes: counted on a model without weights, and measured on a real one."""
