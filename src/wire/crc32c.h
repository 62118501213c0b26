// CRC32c (Castagnoli), the checksum of SCTP (RFC 9260 appendix A) and iSCSI (RFC 3720 §12.1).
#pragma once

#include "base/bytes.h"

namespace ph {

/// The CRC32c of the bytes; `continued` is the value over what came before them.
u32 crc32c(byte_view bytes, u32 continued = 0);

}  // namespace ph
