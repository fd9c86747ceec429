#include <stdio.h>
#include <stdlib.h>

static int is_prime(int number) {
    for (int divisor = 2; divisor * divisor <= number; divisor++) {
        if (number % divisor == 0) {
            return 0;
        }
    }
    return number > 1;
}

int main(int count, char **words) {
    int limit = count > 1 ? atoi(words[1]) : 0;
    printf("primes %s:", VERSION);
    for (int number = 2; number <= limit; number++) {
        if (is_prime(number)) {
            printf(" %d", number);
        }
    }
    putchar('\n');
    return 0;
}
