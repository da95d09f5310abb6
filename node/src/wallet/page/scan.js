// QR codes by the camera or from a picture. The page draws it and sends its brightness to the node,
// which reads it: no picture leaves this machine.
import { $, complain, message, put } from "./dom.js";
import { scan } from "./node.js";
import * as pay from "./pay.js";

const PIXELS_MAX = 1 << 20;
let stream = null;

/** One byte of brightness a pixel, made small enough. */
const brightness = (source, width, height) => {
  const scale = Math.min(1, Math.sqrt(PIXELS_MAX / (width * height)), 1024 / width);
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.floor(width * scale));
  canvas.height = Math.max(1, Math.floor(height * scale));
  const context = canvas.getContext("2d", { willReadFrequently: true });
  // What is transparent is paper.
  context.fillStyle = "#fff";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(source, 0, 0, canvas.width, canvas.height);
  const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
  const pixels = new Uint8Array(canvas.width * canvas.height);
  for (let at = 0; at < pixels.length; at += 1) {
    pixels[at] = (data[4 * at] * 299 + data[4 * at + 1] * 587 + data[4 * at + 2] * 114) / 1000;
  }
  return { width: canvas.width, pixels };
};

const fail = (text) => put($("scan-error"), message(text));

$("scan-file").addEventListener("change", async () => {
  const [file] = $("scan-file").files;
  $("scan-file").value = "";
  if (!file) return;
  complain("scan", "");
  let picture;
  try {
    picture = await createImageBitmap(file);
  } catch {
    return fail("this file is no picture that the browser can read");
  }
  const { width, pixels } = brightness(picture, picture.width, picture.height);
  picture.close();
  const told = await scan(width, pixels);
  if (told.ok) pay.scanned(told.item);
  else fail(told.message);
});

$("scan-camera").addEventListener("click", async () => {
  complain("scan", "");
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
  } catch (error) {
    return fail(error.name === "NotAllowedError" ? "the browser was not allowed to use the camera"
      : "there is no camera that the browser can use");
  }
  const video = $("scan-video");
  video.srcObject = stream;
  $("scan-live").hidden = false;
  await video.play();
  const mine = stream;
  while (stream === mine) {
    if (video.videoWidth > 0) {
      const { width, pixels } = brightness(video, video.videoWidth, video.videoHeight);
      const told = await scan(width, pixels);
      if (stream !== mine) return;
      if (told.ok) {
        stop();
        return pay.scanned(told.item);
      }
      fail(told.error === "no_code" ? "No QR code in sight yet" : told.message);
    }
    await new Promise((go) => setTimeout(go, 300));
  }
});

/** Lets go of the camera. */
export const stop = () => {
  if (!stream) return;
  for (const track of stream.getTracks()) track.stop();
  stream = null;
  $("scan-video").srcObject = null;
  $("scan-live").hidden = true;
  complain("scan", "");
};
$("scan-stop").addEventListener("click", stop);
