/* links: nothing; what it is linked with is all of a module and what is below that. */
int main(void)
{
    return 0;
}
