"""How a layer computes, shares and saves its equalized weight."""
