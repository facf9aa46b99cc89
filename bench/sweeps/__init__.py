"""Many runs on the hardware that there is: each is what `bench run` makes, and engines that exist start them."""
