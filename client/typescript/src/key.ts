// A key is one per intent of the user, made before the first attempt and kept until the intent is settled.

let last = 0;

/**
 * Returns a UUIDv7 (RFC 9562 section 5.7). Its date lets a gateway refuse a retry that comes after its record is gone,
 * instead of executing it again. Keys made by one page are in order: a clock that stands still or goes back does
 * not repeat a millisecond (section 6.2, the timestamp is advanced ahead of the clock).
 */
export function newKey(now: number = Date.now()): string {
  last = Math.max(now, last + 1);
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  const view = new DataView(bytes.buffer);
  view.setUint16(0, Math.floor(last / 2 ** 32));
  view.setUint32(2, last % 2 ** 32);
  view.setUint8(6, 0x70 | (view.getUint8(6) & 0x0f));
  view.setUint8(8, 0x80 | (view.getUint8(8) & 0x3f));
  const hex = Array.from(bytes, (b) => b.toString(16).padStart(2, '0')).join('');
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-');
}
