xx/b.c
