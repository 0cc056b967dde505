/* What the examples say of their samples: change it with the sensor. */
#ifndef DS_META_H
#define DS_META_H

#define DS_FS 50
#define DS_CHANNELS 6
#define DS_ROWS 25
#define DS_META                                                                                         \
  "{\"schema\":\"disc-stream.meta/1\",\"fs\":50,"                                                       \
  "\"channels\":[\"acc_x\",\"acc_y\",\"acc_z\",\"gyro_x\",\"gyro_y\",\"gyro_z\"],"                      \
  "\"units\":[\"g\",\"g\",\"g\",\"deg/s\",\"deg/s\",\"deg/s\"],"                                        \
  "\"scale\":[0.00048828125,0.00048828125,0.00048828125,0.0625,0.0625,0.0625]}"
#define DS_STATUS "{\"schema\":\"disc-stream.status/1\",\"state\":\"%s\",\"boot\":%lu,\"since\":null}"

#endif
