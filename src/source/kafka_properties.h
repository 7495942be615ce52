/*
 * kafka_properties.h
 *		librdkafka's consumer properties, as options of a server or a user mapping.
 */
#ifndef EDW_SOURCE_KAFKA_PROPERTIES_H
#define EDW_SOURCE_KAFKA_PROPERTIES_H

typedef enum EdwKafkaPropertyPlace
{
	EDW_PROPERTY_SERVER,		/* says where and how: CREATE SERVER */
	EDW_PROPERTY_SERVER_FILE,	/* the same, and names a file of the server */
	EDW_PROPERTY_MAPPING,		/* says who: CREATE USER MAPPING; also as NAME.file */
	EDW_PROPERTY_MAPPING_FILE,	/* the same, and names a file of the server itself */
	EDW_PROPERTY_REFUSED		/* would break the rules; reason says which */
} EdwKafkaPropertyPlace;

typedef struct EdwKafkaProperty
{
	const char *name;
	EdwKafkaPropertyPlace place;
	const char *reason;			/* REFUSED: a sentence */
} EdwKafkaProperty;

/* NULL when librdkafka has no such property for consumers */
extern const EdwKafkaProperty *EdwKafkaPropertyFind(const char *name);

#endif							/* EDW_SOURCE_KAFKA_PROPERTIES_H */
