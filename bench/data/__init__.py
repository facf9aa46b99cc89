"""Images and labels of a split as training and scoring read them."""
