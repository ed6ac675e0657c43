/* unconst: for libraries that take pointers to what they will not write, and do not say so. Thread: any. */
#ifndef FANFARE_BASE_UNCONST_H
#define FANFARE_BASE_UNCONST_H

static inline void *unconst(const void *from)
{
    union {
        const void *in;
        void *out;
    } pointer = {from};
    return pointer.out;
}

#endif
