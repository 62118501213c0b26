// The other names under which libc exports what the shim hooks: old programs, and libraries of
// libc's own, call it by them. Each is a jump to the hook, or to who stands before it.

#if defined(__x86_64__)
#define PH_ALIAS(alias, name)                                                                      \
  __asm__(".pushsection .text\n.globl " #alias "\n.type " #alias ", @function\n" #alias            \
          ":\n.cfi_startproc\nendbr64\njmp *" #name "@GOTPCREL(%rip)\n.cfi_endproc\n.size " #alias \
          ", .-" #alias "\n.popsection\n")
#elif defined(__aarch64__)
#define PH_ALIAS(alias, name)                                                                      \
  __asm__(".pushsection .text\n.globl " #alias "\n.type " #alias ", %function\n" #alias            \
          ":\n.cfi_startproc\nhint #34\nadrp x16, :got:" #name "\nldr x16, [x16, :got_lo12:" #name \
          "]\nbr x16\n.cfi_endproc\n.size " #alias ", .-" #alias "\n.popsection\n")
#else
#error "no jump for this architecture"
#endif

PH_ALIAS(__close, close);
PH_ALIAS(__connect, connect);
PH_ALIAS(__dup2, dup2);
PH_ALIAS(__fcntl, fcntl);
PH_ALIAS(__libc_system, system);
PH_ALIAS(__open, open);
PH_ALIAS(__open64, open64);
PH_ALIAS(__poll, poll);
PH_ALIAS(__read, read);
PH_ALIAS(__recv, recv);
PH_ALIAS(__select, select);
PH_ALIAS(__send, send);
PH_ALIAS(__sendmmsg, sendmmsg);
PH_ALIAS(__socket, socket);
PH_ALIAS(__write, write);
PH_ALIAS(_IO_fclose, fclose);
PH_ALIAS(_IO_fflush, fflush);
PH_ALIAS(_IO_fopen, fopen);
PH_ALIAS(_IO_popen, popen);
