"""How jobs were tried: when they must stop, how they ended, what they used."""
