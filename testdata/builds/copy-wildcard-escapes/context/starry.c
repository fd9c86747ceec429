starry.c
