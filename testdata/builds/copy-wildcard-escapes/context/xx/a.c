xx/a.c
