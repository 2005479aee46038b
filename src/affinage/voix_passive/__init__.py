"""Generated French: the voix-passive dataset and the text that petit-llama is pretrained on."""
