"""What is measured of trained networks; decides the diagnosis."""
