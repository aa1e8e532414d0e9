#include "textflag.h"

// func Line(p unsafe.Pointer)
TEXT ·Line(SB), NOSPLIT, $0-8
	MOVD p+0(FP), R0
	PRFM (R0), PLDL1KEEP
	RET

// func Pair(p unsafe.Pointer)
TEXT ·Pair(SB), NOSPLIT, $0-8
	MOVD p+0(FP), R0
	PRFM (R0), PLDL1KEEP
	PRFM 64(R0), PLDL1KEEP
	RET

// func elements(base unsafe.Pointer, size uintptr, at *uint32, n int)
TEXT ·elements(SB), NOSPLIT, $0-32
	MOVD base+0(FP), R0
	MOVD size+8(FP), R1
	MOVD at+16(FP), R2
	MOVD n+24(FP), R3
	SUB  $1, R1, R4
next:
	MOVWU.P 4(R2), R5
	MADD R1, R0, R5, R5
	PRFM (R5), PLDL1KEEP
	ADD  R4, R5
	PRFM (R5), PLDL1KEEP
	SUBS $1, R3
	BNE  next
	RET

// func pointed(base unsafe.Pointer, size uintptr, n int)
TEXT ·pointed(SB), NOSPLIT, $0-24
	MOVD base+0(FP), R0
	MOVD size+8(FP), R1
	MOVD n+16(FP), R2
next:
	MOVD (R0), R3
	PRFM (R3), PLDL1KEEP
	ADD R1, R0
	SUBS $1, R2
	BNE next
	RET
