#include "textflag.h"

// func Line(p unsafe.Pointer)
TEXT ·Line(SB), NOSPLIT, $0-8
	MOVQ p+0(FP), AX
	PREFETCHT0 (AX)
	RET

// func Pair(p unsafe.Pointer)
TEXT ·Pair(SB), NOSPLIT, $0-8
	MOVQ p+0(FP), AX
	PREFETCHT0 (AX)
	PREFETCHT0 64(AX)
	RET

// func elements(base unsafe.Pointer, size uintptr, at *uint32, n int)
TEXT ·elements(SB), NOSPLIT, $0-32
	MOVQ base+0(FP), AX
	MOVQ size+8(FP), BX
	MOVQ at+16(FP), CX
	MOVQ n+24(FP), DX
	LEAQ -1(AX)(BX*1), DI // the last byte of the first element
next:
	MOVL (CX), SI
	IMULQ BX, SI
	PREFETCHT0 (AX)(SI*1)
	PREFETCHT0 (DI)(SI*1)
	ADDQ $4, CX
	DECQ DX
	JNZ next
	RET

// func pointed(base unsafe.Pointer, size uintptr, n int)
TEXT ·pointed(SB), NOSPLIT, $0-24
	MOVQ base+0(FP), AX
	MOVQ size+8(FP), BX
	MOVQ n+16(FP), DX
next:
	MOVQ (AX), SI
	PREFETCHT0 (SI)
	ADDQ BX, AX
	DECQ DX
	JNZ next
	RET
