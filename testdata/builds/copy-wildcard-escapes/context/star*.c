star*.c
