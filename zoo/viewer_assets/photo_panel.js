// The photo, with the joints of the frame that is shown and the contact point drawn over it.

import { element } from "./elements.js";

const FINGERS = [0, 1, 2, 3, 4].map((finger) => [0, 1, 2, 3, 4].map((bone) => (bone ? 4 * finger + bone : 0)));

const WIDTH = 320; // of the panel, in CSS pixels

/** {root, show(clip), seek(frame)} */
export function photoPanel() {
  const image = element("img", { alt: "The input photo" });
  const canvas = element("canvas", { "aria-hidden": "true" });
  const caption = element("figcaption");
  const pixel = element("code", { "aria-live": "polite" });
  const root = element("figure", { class: "photo" }, [
    element("div", { class: "frame" }, [image, canvas]), caption, pixel,
  ]);
  let clip = null;

  // A pixel of the photo as it was given, as `zoo predict` takes it.
  image.parentNode.addEventListener("click", (event) => {
    const box = image.getBoundingClientRect();
    const { source_width: width, source_height: height } = clip.payload.photo;
    const x = Math.min(Math.floor(((event.clientX - box.left) / box.width) * width), width - 1);
    const y = Math.min(Math.floor(((event.clientY - box.top) / box.height) * height), height - 1);
    pixel.textContent = `--contact-pixel ${x},${y}`;
  });

  const projected = (K, x, y, z) => [(K[0][0] * x + K[0][1] * y) / z + K[0][2], (K[1][1] * y) / z + K[1][2]];

  function bones(pen, joints, frame, colour, width) {
    const { camera_K: K } = clip.payload.photo;
    const start = frame * 63;
    pen.strokeStyle = colour;
    pen.lineWidth = width;
    pen.beginPath();
    for (const finger of FINGERS) {
      finger.forEach((joint, i) => {
        const [x, y, z] = joints.subarray(start + 3 * joint, start + 3 * joint + 3);
        if (z > 0.01) pen[i ? "lineTo" : "moveTo"](...projected(K, x, y, z));
      });
    }
    pen.stroke();
  }

  return {
    root,
    show(shown) {
      clip = shown;
      const { photo } = clip.payload;
      root.hidden = !photo;
      pixel.textContent = "";
      if (!photo) return;
      image.src = photo.url;
      canvas.width = Math.min(photo.width, Math.round(WIDTH * devicePixelRatio));
      canvas.height = Math.round((canvas.width * photo.height) / photo.width);
      canvas.hidden = !photo.camera_K;
      const drawn = photo.camera_K ? ` with this frame's joints${clip.truthJoints ? ", the truth's in blue" : ""}` : "";
      caption.textContent = `The input photo${drawn}. A click on it reads a pixel for zoo predict.`;
    },
    seek(frame) {
      if (root.hidden || canvas.hidden) return;
      const { photo, contact_point_m: point } = clip.payload;
      const pen = canvas.getContext("2d");
      const unit = photo.width / WIDTH;
      pen.setTransform(canvas.width / photo.width, 0, 0, canvas.height / photo.height, 0, 0);
      pen.clearRect(0, 0, photo.width, photo.height);
      pen.lineJoin = pen.lineCap = "round";
      if (clip.truthJoints) {
        bones(pen, clip.truthJoints, frame, "rgb(0 0 0 / 50%)", 3.2 * unit);
        bones(pen, clip.truthJoints, frame, "#6db3f2", 1.8 * unit);
      }
      bones(pen, clip.joints, frame, "rgb(0 0 0 / 50%)", 3.6 * unit);
      bones(pen, clip.joints, frame, "#fe9f6d", 2.2 * unit);
      if (point && point[2] > 0.01) {
        const [x, y] = projected(photo.camera_K, ...point);
        for (const [colour, width] of [["#000", 4], ["#2fd6a5", 2]]) {
          pen.strokeStyle = colour;
          pen.lineWidth = width * unit;
          pen.beginPath();
          pen.arc(x, y, 5 * unit, 0, 2 * Math.PI);
          pen.stroke();
        }
      }
    },
  };
}
