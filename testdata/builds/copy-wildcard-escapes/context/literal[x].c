literal[x].c
